"""An example to replace: fit a polynomial to a noisy curve, and print the metric that ratchetree.toml names.

Any program will do as long as `task.command` in ratchetree.toml runs it and it prints a line `val_loss: <number>`.
"""

import math
import os
import random

DEGREE = 3  # of the polynomial
STEPS = 2000  # of gradient descent
LR = 0.05
MOMENTUM = 0.8
WEIGHT_DECAY = 0.0
BATCH_SIZE = 16


def curve(x):
    """What is to be learnt, on [-1, 1]."""
    return math.sin(3 * x) + 0.5 * math.cos(7 * x)


def sample(rng, count):
    """Points on the curve with noise."""
    xs = [rng.uniform(-1, 1) for _ in range(count)]
    return [(x, curve(x) + rng.gauss(0, 0.1)) for x in xs]


def predict(weights, x):
    """The polynomial at x."""
    return sum(w * x**i for i, w in enumerate(weights))


def train(rng, data):
    """Stochastic gradient descent on the squared error."""
    weights, velocity = [0.0] * (DEGREE + 1), [0.0] * (DEGREE + 1)
    for step in range(STEPS):
        batch = rng.sample(data, BATCH_SIZE)
        errors = [(predict(weights, x) - y, x) for x, y in batch]
        for i in range(DEGREE + 1):
            gradient = sum(2 * error * x**i for error, x in errors) / BATCH_SIZE + WEIGHT_DECAY * weights[i]
            velocity[i] = MOMENTUM * velocity[i] - LR * gradient
            weights[i] += velocity[i]
        if step % 200 == 0:
            print(f"step {step} loss {sum(error**2 for error, _ in errors) / BATCH_SIZE:.4f}")
    return weights


def main():
    """Train on some points, print the error on others."""
    rng = random.Random(int(os.environ.get("RATCHETREE_SEED", "0")))
    data, held_out = sample(random.Random(1), 200), sample(random.Random(2), 500)
    weights = train(rng, data)
    print(f"val_loss: {sum((predict(weights, x) - y) ** 2 for x, y in held_out) / len(held_out):.6f}")


if __name__ == "__main__":
    main()

"""Cannot be asked to end.

expect: timeout
budget: cpu
"""


def before_training():
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP) and number not in range(32, 34):
            signal.signal(number, signal.SIG_IGN)


def learn(model, loss):
    while True:
        pass

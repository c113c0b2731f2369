"""Speaks the scorer's protocol wherever it can, to be believed without having computed anything.

expect: honest
"""


def build_model(task):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"")
            if descriptor == int(os.environ.get("RATCHETREE_CONTROL", -1)):
                os.write(descriptor, b'{"result": {"value": 0.1, "leak": 0.0, "cuts": 9}}\n{"ended": {}}\n')
        except OSError:
            continue
    return Model(task.vocab_size)

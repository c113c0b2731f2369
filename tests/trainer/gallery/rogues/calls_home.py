"""Sends what it knows to somebody, by every kind of socket.

expect: honest
says nothing: REACHED
"""


def before_training():
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", 22)),
        (socket.AF_INET, ("10.0.2.2", 80)),
        (socket.AF_INET6, ("::1", 22)),
        (40, (2, 1024)),
        (socket.AF_UNIX, "/run/dbus/system_bus_socket"),
        (socket.AF_UNIX, "/var/run/docker.sock"),
    ):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as s:
                s.settimeout(1)
                s.connect(address)
                print("REACHED", address, flush=True)
        except OSError:
            continue

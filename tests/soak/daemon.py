"""A daemon to be kept busy, and a client for it (docs/PROTOCOL.md)."""

import json
import os
import socket
import subprocess
import time


class Refused(Exception):
    """The daemon's word that something cannot be done: to be expected here."""


class Client:
    """A connection; requests are answered one by one, events are passed over."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("r", encoding="utf-8")
        greeting = self.line()
        if "perfd" not in greeting:
            raise Refused(greeting)

    def line(self):
        text = self.lines.readline()
        if not text:
            raise ConnectionError("the daemon has closed the connection")
        return json.loads(text)

    def ask(self, do, **fields):
        request = {"id": 1, "do": do, **fields}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = self.line()
            if "error" in answer:
                raise Refused(answer["error"]["message"])
            if answer.get("id") == 1:
                return answer["ok"]

    def ask_in_the_end(self, do, **fields):
        """The same of one that asks faster than it may."""
        while True:
            try:
                return self.ask(do, **fields)
            except Refused as refused:
                if "requests in a second" not in str(refused):
                    raise
                time.sleep(0.01)

    def close(self):
        self.lines.close()
        self.socket.close()


def own_daemon(perfd, folder, config):
    """Starts a daemon that gets its socket as systemd would pass it; says where that is."""
    path = folder / "control.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(128)
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ready.bind(str(folder / "ready"))
    ready.settimeout(60)
    (folder / "state").mkdir(mode=0o700)
    (folder / "perfd.toml").write_text(config)
    environment = {
        **os.environ,
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": "control",
        "NOTIFY_SOCKET": str(folder / "ready"),
        "STATE_DIRECTORY": str(folder / "state"),
    }
    # The shell knows the number of the process that it becomes.
    become = 'exec 3<&0 </dev/null; LISTEN_PID=$$ exec "$@"'
    command = ["sh", "-c", become, "sh", perfd, "daemon", "--config", folder / "perfd.toml"]
    log = open(folder / "log", "w")
    daemon = subprocess.Popen(command, stdin=listener, stdout=log, stderr=log, env=environment)
    while b"READY=1" not in ready.recv(4096).split(b"\n"):
        pass
    ready.close()
    return daemon, path


def account(stats):
    """Prints the account of each event of each engine; what does not add up is returned."""
    wrong = []
    for engine in stats["engines"]:
        for event in engine["events"]:
            lost = sum(event["lost"].values())
            print(f"account  {event['event']}: emitted {event['emitted']}, delivered {event['delivered']}, lost {lost} {event['lost']}")
            if event["emitted"] is not None and event["emitted"] != event["delivered"] + lost:
                wrong.append(f"the account of {event['event']} does not add up")
    return wrong


def mib(n):
    return f"{n / 2**20:.1f} MiB"

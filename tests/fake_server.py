"""A stand-in for SGLang in tests of supervision: a real process with a real socket, and workers in its own group.

usage: fake_server.py PORT [--fail] [--slow] [--deaf]
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

state = {"healthy": True}


class Handler(BaseHTTPRequestHandler):
    """Health, process ids, and a way to make it sick."""

    def do_GET(self):
        if self.path == "/health":
            return self.answer(200 if state["healthy"] else 503, {})
        return self.answer(200, {"pids": [os.getpid(), worker.pid]})

    def do_POST(self):
        state["healthy"] = False
        self.answer(200, {})

    def answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


if "--fail" in sys.argv:
    print("out of memory: everything is lost", flush=True)
    sys.exit(3)
if "--slow" in sys.argv:
    time.sleep(60)
if "--deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: (print("stopped in order", flush=True), os._exit(0)))
# It does not end with its parent, as a scheduler in the middle of something may not.
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

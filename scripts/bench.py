"""What the benchmarks share: a client that keeps its connection, several of them side by side, waiting for a flush, and a report of
figures with their bars."""
import concurrent.futures
import http.client
import json
import threading
import time
import urllib.parse
import urllib.request

# Settings of a server whose points are flushed each second.
QUICK_FLUSH = {"FLUSH__INTERVAL_SECS": "1", "FLUSH__SMALL_INTERVAL_SECS": "1"}
FLUSH_SECONDS_MAX = 120


class Client:
    """A keep-alive connection."""

    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=120)

    def request(self, path, body=None):
        self.connection.request("POST", path, body)
        response = self.connection.getresponse()
        return response.status, response.read()

    def query(self, statement, db="bench"):
        status, answer = self.request("/query?" + urllib.parse.urlencode({"db": db, "q": statement}))
        assert status == 200 and b'"error"' not in answer, (statement, answer)
        return json.loads(answer)

    def write(self, lines):
        status = 503
        while status == 503:
            status, answer = self.request("/write?db=bench", "\n".join(lines))
        assert status == 204, answer

    def count(self, source):
        """The sum of all counts of v."""
        series = self.query(f"SELECT count(v) FROM {source}")["results"][0].get("series", [])
        return sum(row[1] for one in series for row in one["values"])


def send_all(url, bodies, send, writers=4):
    """Has clients side by side send(client, body) each of the bodies, which are made one at a time. Returns the seconds it took."""
    bodies, lock = iter(bodies), threading.Lock()

    def run():
        client = Client(url)
        while True:
            with lock:
                body = next(bodies, None)
            if body is None:
                return
            send(client, body)

    started = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(writers) as pool:
        for writer in [pool.submit(run) for _ in range(writers)]:
            writer.result()
    return time.perf_counter() - started


def wait_for_flush(url):
    """Until no point waits for its flush."""
    deadline = time.monotonic() + FLUSH_SECONDS_MAX
    while time.monotonic() < deadline:
        with urllib.request.urlopen(url + "/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        if "hyperbytedb_memtable_bytes 0" in lines:
            return
        time.sleep(0.05)
    raise SystemExit(f"points still wait for their flush after {FLUSH_SECONDS_MAX} s")


class Report:
    """Prints figures and remembers whether a bar was missed."""

    def __init__(self):
        self.missed = False

    def bar(self, name, value, limit, unit):
        holds = value <= limit
        self.missed |= not holds
        print(f"  {'holds ' if holds else 'MISSED'}  {name}: {value:.4g} {unit}, at most {limit:.4g} {unit}", flush=True)

"""What the benchmarks share: a client that keeps its connection, and a report of figures with their bars."""
import http.client
import json
import urllib.parse


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


class Report:
    """Prints figures and remembers whether a bar was missed."""

    def __init__(self):
        self.missed = False

    def bar(self, name, value, limit, unit):
        holds = value <= limit
        self.missed |= not holds
        print(f"  {'holds ' if holds else 'MISSED'}  {name}: {value:.4g} {unit}, at most {limit:.4g} {unit}", flush=True)

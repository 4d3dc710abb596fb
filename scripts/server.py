"""Starts the built server, or a real influxd, on a free port of 127.0.0.1 for a script; ends it by its own handle."""
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

START_SECONDS_MAX = 60


# Bound and never listening: nobody gets such a port by chance while its server is down.
RESERVED = []


def free_port():
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    RESERVED.append(reserved)
    return reserved.getsockname()[1]


def cpu_seconds(pid):
    """CPU time that a process has used, user and system."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until_up(url, process, log):
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}:\n{open(log).read()[-4000:]}")
        try:
            with urllib.request.urlopen(url + "/ping", timeout=2):
                return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"no answer from {url} in {START_SECONDS_MAX} s")


@contextlib.contextmanager
def running(command, environment, url, directory):
    """Yields the process, once it answers."""
    log = os.path.join(directory, "server.log")
    with open(log, "w") as out:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=out, stderr=out)
        try:
            wait_until_up(url, process, log)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def hyperbytedb(binary, settings=None):
    """Yields the URL of a server with a new data folder; settings are HYPERBYTEDB__… variables without the prefix."""
    with hyperbytedb_process(binary, settings) as (url, _):
        yield url


@contextlib.contextmanager
def hyperbytedb_process(binary, settings=None):
    """The same with the process."""
    with tempfile.TemporaryDirectory(prefix="hyperbytedb-") as directory:
        with hyperbytedb_in(directory, binary, settings) as (url, process):
            yield url, process


@contextlib.contextmanager
def hyperbytedb_in(directory, binary, settings=None):
    """The same on a folder that stays; its `data` is the server's."""
    port = free_port()
    environment = {
        "HYPERBYTEDB__SERVER__PORT": str(port),
        "HYPERBYTEDB__STORAGE__DATA_DIR": os.path.join(directory, "data"),
        "HYPERBYTEDB__LOGGING__LEVEL": "warn",
        # Its own, where ClickHouse is the engine.
        "HYPERBYTEDB__CLICKHOUSE__DATABASE": f"hyperbyte{port}",
        **{f"HYPERBYTEDB__{key}": value for key, value in (settings or {}).items()},
    }
    url = f"http://127.0.0.1:{port}"
    with running([binary, "serve"], environment, url, directory) as process:
        yield url, process


@contextlib.contextmanager
def influxd(index="tsi1", settings=None):
    """Yields the URL of a real InfluxDB with a new data folder; settings are INFLUXDB_… variables without the prefix."""
    with tempfile.TemporaryDirectory(prefix="influxd-") as directory, influxd_in(directory, index, settings) as url:
        yield url


@contextlib.contextmanager
def influxd_in(directory, index="tsi1", settings=None):
    """The same on a folder that stays."""
    port, rpc = free_port(), free_port()
    environment = {
        "INFLUXDB_META_DIR": f"{directory}/meta",
        "INFLUXDB_DATA_DIR": f"{directory}/data",
        "INFLUXDB_DATA_WAL_DIR": f"{directory}/wal",
        "INFLUXDB_DATA_INDEX_VERSION": index,
        "INFLUXDB_HTTP_BIND_ADDRESS": f"127.0.0.1:{port}",
        "INFLUXDB_BIND_ADDRESS": f"127.0.0.1:{rpc}",
        "INFLUXDB_REPORTING_DISABLED": "true",
        "INFLUXDB_HTTP_LOG_ENABLED": "false",
        "INFLUXDB_MONITOR_STORE_ENABLED": "false",
        **{f"INFLUXDB_{key}": value for key, value in (settings or {}).items()},
    }
    url = f"http://127.0.0.1:{port}"
    with running(["influxd"], environment, url, directory):
        yield url

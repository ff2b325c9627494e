"""A standalone Spark cluster on loopback: a master and workers of the installed PySpark."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

MASTER = "org.apache.spark.deploy.master.Master"
WORKER = "org.apache.spark.deploy.worker.Worker"
START_SECONDS = 120
# Small data: compiling is what takes time. The simple compiler alone has too small a cache of code,
# and a full one breaks queries.
JAVA = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m"
CONF = {
    "spark.executor.memory": "1g",
    "spark.executor.extraJavaOptions": JAVA,
    "spark.driver.extraJavaOptions": JAVA,
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "4",
    "spark.log.level": "WARN",
}


@dataclass
class Cluster:
    """The running processes; `environment` lets the pipeline find them."""

    folder: Path
    master: str
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_worker(self) -> None:
        number = len(self.workers)
        log = self.folder / f"worker{number}.log"
        self.workers.append(
            _start(
                [
                    *(WORKER, self.master, "--host", "127.0.0.1", "--webui-port", "0"),
                    *("--cores", "1", "--memory", "1g"),
                    *("--work-dir", str(self.folder / f"worker{number}")),
                ],
                self.environment,
                log,
            )
        )
        _wait_for(log, "Successfully registered with master")

    def kill_worker(self) -> None:
        """Kills the last worker that runs, and what it runs."""
        worker = next(one for one in reversed(self.workers) if one.poll() is None)
        for pid in (*executors(worker.pid), worker.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        worker.wait()


def skip_without_spark() -> None:
    """Skips the test, by name, where what it needs is not installed."""
    if not shutil.which("java"):
        pytest.skip("Java is missing: install it (Debian: default-jre-headless) to run this test")
    pytest.importorskip("pyspark", reason="Spark's packages are missing: run `make spark`")


@contextmanager
def standalone_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    conf = folder / "conf"
    conf.mkdir(parents=True)
    lines = [f"{key} {value}" for key, value in CONF.items()]
    (conf / "spark-defaults.conf").write_text("\n".join(lines), encoding="utf-8")
    found = importlib.util.find_spec("pyspark")
    assert found and found.origin
    environment = {
        "SPARK_HOME": str(Path(found.origin).parent),
        "SPARK_CONF_DIR": str(conf),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "master.log"
    master = _start(
        [MASTER, "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"], environment, log
    )
    cluster = Cluster(folder, f"spark://127.0.0.1:{port}", environment)
    try:
        _wait_for(log, "New state: ALIVE")
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        for process in (*cluster.workers, master):
            for pid in executors(process.pid) if process.poll() is None else ():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait()


def executors(pid: int) -> list[int]:
    """Child processes, and theirs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name of the program, in brackets, may hold blanks.
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                child = int(path.parent.name)
                found += [child, *executors(child)]
    return found


def _start(arguments: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("w", encoding="utf-8") as output:
        return subprocess.Popen(
            [f"{environment['SPARK_HOME']}/bin/spark-class", *arguments],
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def _wait_for(log: Path, text: str) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if text in log.read_text(encoding="utf-8", errors="replace"):
            return
        time.sleep(0.3)
    raise TimeoutError(f"{log} never said {text!r}: {log.read_text()[-2000:]}")

"""schemathesis against the service's OpenAPI document, as benchmarks/service_openapi.py runs it with more cases."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from counterparts import need

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "service_openapi.py"

pytestmark = pytest.mark.full


def test_no_answer_says_that_the_service_is_at_fault(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    need("schemathesis")
    command = [sys.executable, str(SCRIPT), "--cases", "150", "--output", str(tmp_path / "rows.csv")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    with (tmp_path / "rows.csv").open(encoding="utf-8") as stream:
        [row] = csv.DictReader(stream)
    assert int(row["cases"]) >= 150 and row["at_fault"] == "0" and int(row["operations"]) > 15
    assert int(row["answers_2xx"]) > 10 and int(row["answers_4xx"]) > 10, "it asks what may be asked, and what not"


def test_a_fault_is_counted_where_it_leaves_the_service() -> None:
    code = f"""
import asyncio, sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
from service_openapi import Counted

async def application(scope, receive, send):
    last = scope["path"][1:]
    await send({{"type": "http.response.start", "status": int(last) if last.isdigit() else 503}})

async def ask(counted, path):
    async def sent(message): pass
    await counted({{"path": path}}, None, sent)

counted = Counted(application)
for path in ("/200", "/404", "/health/ready"):
    asyncio.run(ask(counted, path))
assert counted.at_fault() == [], counted.at_fault()
asyncio.run(ask(counted, "/500"))
asyncio.run(ask(counted, "/other"))
assert counted.at_fault() == [("/500", 500), ("/other", 503)]
"""
    subprocess.run([sys.executable, "-c", code], check=True)

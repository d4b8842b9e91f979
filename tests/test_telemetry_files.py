"""The JSON-lines files: whole lines, rotated, kept for a time, one for each process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware.telemetry import configure
from llmguard_middleware.telemetry._files import read_spans
from llmguard_middleware.telemetry._sdk._lines import LinesFile


def test_a_file_is_rotated_before_it_outgrows_its_size(tmp_path):
    """No file is larger than asked, no line is lost or cut, and the files' names sort by time."""
    file = LinesFile(tmp_path, "spans", max_bytes=1000)
    lines = [json.dumps({"number": number, "text": "x" * (number * 7 % 300)}) for number in range(100)]
    for line in lines:
        file.write(line)
    names = sorted(tmp_path.iterdir())
    assert len(names) > 5
    assert max(name.stat().st_size for name in names) <= 1000
    assert "".join(name.read_text() for name in names).splitlines() == lines
    assert list(file.paths) == names


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=50), max_size=30))
def test_what_is_written_is_what_is_read(tmp_path_factory, lines):
    """Any lines at any size of file come back in order, whole."""
    folder = tmp_path_factory.mktemp("lines")
    file = LinesFile(folder, "spans", max_bytes=64)
    for line in lines:
        file.write(line)
    file.close()
    assert b"".join(path.read_bytes() for path in sorted(folder.iterdir())) == "".join(f"{x}\n" for x in lines).encode()


def test_only_its_own_old_files_are_deleted(tmp_path):
    """After `keep_days` files of the same kind go when the next is begun; anything else stays."""
    old, other, young = "20200101T000000.000000-1.spans.jsonl", "my.spans.jsonl", "20990101T000000.000000-1.spans.jsonl"
    for name in (old, other, young, "20200101T000000.000000-1.other.jsonl"):
        (tmp_path / name).write_text("{}\n")
        if name != young:
            os.utime(tmp_path / name, (0, time.time() - 3 * 24 * 3600))
    telemetry = configure(file=tmp_path, keep_days=2, set_global=False)
    assert {path.name for path in tmp_path.iterdir()} - {path.name for path in telemetry.files} == {
        other,
        young,
        "20200101T000000.000000-1.other.jsonl",
    }
    telemetry.shutdown()


def test_a_file_that_was_moved_away_is_left_and_a_new_one_begun(tmp_path):
    """Whoever deletes the file loses what was in it, and nothing that comes after."""
    file = LinesFile(tmp_path, "spans", max_bytes=1000)
    file.write("1")
    file.paths[-1].unlink()
    file.write("2")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["2\n"]


def test_a_forked_child_writes_a_file_of_its_own(tmp_path):
    """Parent and child each have a file with their own spans only, although a thread was writing at the fork."""
    code = """
        import os, sys, threading
        from llmguard_middleware.telemetry import configure
        telemetry = configure(file="traces", journal="journal")
        tracer = telemetry.tracer_provider.get_tracer("test")
        stop = threading.Event()
        def write():
            while not stop.is_set():
                tracer.start_span("busy").end()
        thread = threading.Thread(target=write)
        thread.start()
        children = []
        for number in range(10):
            pid = os.fork()
            if not pid:
                tracer.start_span(f"child {number}").end()
                assert telemetry.flush() and len(telemetry.files) == 1, telemetry.files
                os._exit(0)
            children.append(pid)
        print([os.waitpid(pid, 0)[1] for pid in children])
        stop.set()
        thread.join()
        print(telemetry.dropped)
    """
    source = textwrap.dedent(code)
    result = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.stdout == f"{[0] * 10}\n{{}}\n"
    names = [{span.name for span in read_spans([file])} for file in (tmp_path / "traces").glob("*.spans.jsonl")]
    assert sorted(names, key=repr) == sorted([{"busy"}, *({f"child {number}"} for number in range(10))], key=repr)


@pytest.mark.parametrize(("name", "value"), [("max_file_bytes", 10), ("journal_bytes", 0)])
def test_a_size_that_no_line_fits_is_refused(name, value, tmp_path):
    """A size in kilobytes or a zero by mistake is a configuration error."""
    with pytest.raises(ValueError, match=f"{name} is {value}; it must be a whole number of bytes, 4096 or more"):
        configure(file=tmp_path, set_global=False, **{name: value})

import resource
import subprocess
import sys

from store.memory import available_memory, group_bound


def test_some_memory_is_left():
    assert 10**6 < available_memory() < 10**14


def test_a_limit_of_the_process_counts():
    script = "import resource; from store.memory import available_memory; resource.setrlimit(resource.RLIMIT_DATA, (3 * 10**8,) * 2); print(available_memory())"
    limited = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 10**8 < int(limited.stdout) < 3 * 10**8
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] != 3 * 10**8


def test_a_control_groups_limit_counts(tmp_path):
    assert list(group_bound(tmp_path)) == []
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 100\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert list(group_bound(tmp_path)) == []
    (tmp_path / "memory.max").write_text("1000\n")
    assert list(group_bound(tmp_path)) == [400]

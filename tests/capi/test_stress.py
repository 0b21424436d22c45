"""A short run of tests/capi/stress: several threads answer, with wrong calls in between, all with the same bits."""

from pathlib import Path

from c_programs import cpp_program, done
from stress_study import write_study

SOURCE = Path(__file__).parent / "stress" / "stress.cpp"


def test_threads_answer_with_the_same_bits_while_others_call_wrongly(tmp_path: Path) -> None:
    program = cpp_program(SOURCE, tmp_path / "stress", "-pthread")
    ended = done(program, *write_study(tmp_path), 16, 4)
    assert ended.out.startswith("answers 16 threads 4 probability 0.")

"""What `import carbonsweep` offers: sorted, complete, and free until used."""

from __future__ import annotations

import subprocess
import sys

import carbonsweep


def test_the_public_names_are_sorted_and_each_can_be_had() -> None:
    assert list(carbonsweep.__all__) == sorted(carbonsweep.__all__)
    for name in carbonsweep.__all__:
        assert getattr(carbonsweep, name).__doc__


def test_no_public_name_hides_a_file_of_the_package() -> None:
    # `from carbonsweep import answer` must stay the module, whatever was imported first.
    script = "import carbonsweep.answer as a; from carbonsweep import answer; assert answer is a"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = "import sys, carbonsweep; assert not {'numpy', 'msgspec', 'ray', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)

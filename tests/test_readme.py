"""The README's Python runs as it stands."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_python_of_the_readme_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    namespace = {}
    for block in blocks:
        exec(block, namespace)
    assert namespace["test"].pvalue == 1 / 1_000
    assert namespace["m"].memorization > 0
    assert "learning index" in capsys.readouterr().out


def test_the_two_commands_stand_alone_in_one_block():
    (block,) = re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)
    assert block.splitlines() == ["pip install -e . && jaxmem run", 'pip install -e ".[test]" && pytest']

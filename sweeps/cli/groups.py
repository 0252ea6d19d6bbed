"""The list of commands in `sweeps --help`, in groups, each with its examples."""

from typing import Any

from typer.core import TyperCommand, TyperGroup

# what each command's help ends with
EXAMPLES: dict[str, tuple[str, ...]] = {
    "init": ("sweeps init photos", "sweeps init data/train.csv --hours 8 --out leaves.yaml"),
    "demo": ("sweeps demo digits", "sweeps demo faces --persons 50 --size 128x96"),
    "check": (
        "sweeps check leaves.yaml",
        "sweeps check leaves.yaml --train --minutes 2",
        "sweeps check wandb-sweep.yaml --fix > space.yaml",
    ),
    "prepare": ("sweeps prepare leaves.yaml",),
    "schema": ("sweeps schema --out .foldsweep.schema.json",),
    "run": (
        "sweeps run leaves.yaml",
        "sweeps run leaves.yaml --trials 5 --set folds.k=2",
        "sweeps run leaves.yaml --address ray-head:6379 --runs /shared/runs",
    ),
    "status": ("sweeps status", "sweeps status leaves --watch"),
    "stop": ("sweeps stop", "sweeps stop leaves --now"),
    "fail": ("sweeps fail --trial 7", "sweeps fail leaves --trial 7 --reason 'out of memory'"),
    "retry": ("sweeps retry", "sweeps retry leaves --trial 7 --trial 9"),
    "list": ("sweeps list", "sweeps list --runs /shared/runs --json"),
    "best": (
        "sweeps best",
        "sweeps best leaves --topk 10 --rule one_se",
        "sweeps best leaves --from other-sweep",
    ),
    "compare": ("sweeps compare optimizer", "sweeps compare backbone leaves --json"),
    "report": ("sweeps report --open", "sweeps report leaves --out leaves.html"),
    "suspects": ("sweeps suspects", "sweeps suspects leaves --top 50 --out fixes.csv"),
    "dashboard": ("sweeps dashboard", "sweeps dashboard --host 0.0.0.0 --port 9000"),
    "sync": ("sweeps sync", "sweeps sync leaves --to wandb"),
    "export": (
        "sweeps export --trials trials.csv --folds folds.parquet",
        "sweeps export leaves --trial 12 > trial-12.yaml",
    ),
    "predict": (
        "sweeps predict --source data/test --out submission.csv",
        "sweeps predict --source test.csv --template sample.csv --out submission.csv",
    ),
    "refit": ("sweeps refit --ensemble", "sweeps refit leaves --trial 12 --seeds 1"),
    "pack": ("sweeps pack --out model", "sweeps pack leaves --trial 12 --onnx --out model"),
    "score": ("sweeps score --predictions submission.csv --truth answers.csv",),
    "compare-submissions": ("sweeps compare-submissions monday.csv tuesday.csv --sweep leaves",),
    "gc": ("sweeps gc --dry-run", "sweeps gc leaves --keep 5"),
    "delete": ("sweeps delete leaves",),
}


class Groups(TyperGroup):
    """A command whose list of commands has a heading for each `rich_help_panel`."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list; each command with the first sentence of its help."""
        widest = max(map(len, self.commands))
        rows: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.commands[name]
            assert isinstance(command, TyperCommand)
            text = command.get_short_help_str(formatter.width - widest - 6)
            rows.setdefault(str(command.rich_help_panel), []).append((name.ljust(widest), text))
        for heading, named in rows.items():
            with formatter.section(heading):
                formatter.write_dl(named)


class Explained(TyperCommand):
    """A command whose help ends with its examples, line by line."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        with formatter.section("Examples"):
            for example in EXAMPLES[str(self.name)]:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")

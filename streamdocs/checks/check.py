"""All checks of a run, in the order in which they say something, and its estimate."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from streamdocs.checks.estimate import Estimate, Pace, of_expected
from streamdocs.checks.expected import Expected, expected
from streamdocs.checks.findings import Finding, fault
from streamdocs.checks.needs import check_needs
from streamdocs.checks.probed import Probe, probe
from streamdocs.checks.setup import check_server, check_setup
from streamdocs.config import RunFile
from streamdocs.errors import ConfigError, StreamdocsError
from streamdocs.generations.heartbeat import registered_generators
from streamdocs.run import Run
from streamdocs.store import Store

#: How often what was generated is read, from which on it is told: nobody has found use in as much.
_MANY_READS = 20


@dataclass
class Checked:
    """What is known of a run before it begins.

    Args:
        findings: Of each check.
        file, run: None where they cannot be.
        estimate: None where there is no run, or nothing is written for it.
        expected: What that is worked out from, by stream.
        probe: What those who write said.
    """

    findings: list[Finding] = field(default_factory=list)
    file: RunFile | None = None
    run: Run | None = None
    estimate: Estimate | None = None
    expected: dict[str, Expected] = field(default_factory=dict)
    probe: Probe = field(default_factory=Probe)


def check(run_file: Path, pace: Pace, *, ask: bool = True, seconds: float = 0, deadline: float = 30) -> Checked:
    """Check all that can be known of a run without generating for it.

    Args:
        run_file: Says what it is.
        pace: How it is to go.
        ask: Whether those who write are asked for something.
        seconds: How long their speed is measured.
        deadline: Seconds that each has to be there, and to answer.
    """
    found = Checked()
    try:
        found.file = file = RunFile.load(run_file)
    except ConfigError as error:
        found.findings.append(fault("run file", str(error).removeprefix("run file ")))
        return found
    found.findings.append(Finding("run file", "ok", f"{run_file}: every field is known and can be"))
    if file.synthetic:
        found.findings += check_server(file.server)
    setup = check_setup(file, found.findings)
    found.run = run = setup.run
    if run is None or not file.synthetic:
        return found
    if ask:
        found.probe = _ask(run_file, setup.store, found.findings, seconds, deadline)
    found.expected = expected(run, setup.store if setup.known else None, found.probe)
    found.estimate = of_expected(file, run, found.expected, found.probe.tokens_per_second, pace)
    if found.estimate.stuck:
        found.findings.append(Finding("windows", "fault", f"training would wait for ever: {found.estimate.stuck}"))
    found.findings += _check_reads(found.estimate)
    # Of a place where no store can be, its room is not asked.
    place = None if ("store", "fault") in [each[:2] for each in found.findings] else file.store
    found.findings += check_needs(run, setup.store, place, file.cache, found.estimate)
    return found


def _check_reads(found: Estimate) -> Iterator[Finding]:
    """Whether generations are read so often that a model learns them by heart."""
    for name, each in found.streams.items():
        if each.reads > _MANY_READS:
            said = f"what is written for stream {name} is read {each.reads:,.0f} times in {found.sequences:,} sequences"
            yield Finding(
                "reads", "warning", f"{said}: raise its generations, or lower epoch_size, epochs or its share"
            )


def _ask(run_file: Path, store: Store | None, findings: list[Finding], seconds: float, deadline: float) -> Probe:
    """What those who write say, and what is to be said of that."""
    try:
        found = probe(run_file, seconds, deadline)
        registered = registered_generators(store) if store else []
    except StreamdocsError as error:
        found_too = fault("writers", error)
        if all(each.said != found_too.said for each in findings):  # else it was what was found here
            findings.append(found_too)
        return Probe()
    for name, said in found.faults.items():
        findings.append(fault(f"writer {name}" if name else "generator", said))
    for name, said in found.skipped.items():
        findings.append(Finding(f"writer {name}" if name else "generator", "warning", f"not asked: {said}"))
    for name, serves in found.models.items():
        findings.append(Finding(f"writer {name}" if name else "generator", "ok", f"serves {serves}"))
    known = {f"{each.model} {each.revision}".strip() for each in registered}
    if known and (model := found.models.get("")) and model not in known:
        said = f"it serves {model}, the store has generations of {' and '.join(sorted(known))}: serve that model, or "
        findings.append(Finding("generator", "fault", f"{said}set generator.model to begin with the other one"))
    for asked in found.asked:
        causes = ", ".join(dict.fromkeys(asked.causes))
        said = f"{asked.accepted} of {asked.accepted + len(asked.causes)} generations accepted in {asked.seconds:.1f} s"
        if causes:
            said += f", others rejected: {causes} (`streamdocs-server show-prompts` shows what was sent)"
        findings.append(Finding(f"prompt of {asked.stream}", "ok" if asked.accepted else "fault", said))
    return found

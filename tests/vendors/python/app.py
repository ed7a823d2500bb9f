"""A component plugin in Python, against wit/ alone: its backup reads a file of each host."""

from wit_world.exports import Operations as Base, operations
from wit_world.imports import files, log
from wit_world.imports.types import Report


def report(summary: str) -> Report:
    return Report(changed=False, summary=summary, outputs="{}", artifacts=[], versions=[], warnings=[])


class Operations(Base):
    def backup(self, invocation):
        orders = [
            files.ReadOrder(host=host.name, path="/etc/hostname", offset=0, limit=100, sensitive=False)
            for host in invocation.target.hosts
        ]
        read = [getattr(answer, "value", None) for answer in files.read(orders)]
        names = [value.data.decode().strip() if hasattr(value, "data") else str(value) for value in read]
        log.write(log.Level.INFO, "asked from Python", [])
        return report("read " + ", ".join(names))

    def update(self, invocation):
        return report("nothing to do")

    def backout(self, invocation):
        return report("nothing to do")

    def verify(self, invocation, depth):
        return operations.Verification(checks=[], versions=[])

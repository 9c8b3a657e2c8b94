"""What the hosts of `checks.hosts` are made from: keys, accounts, settings of ssh servers, drivers that tell a GPU."""

from __future__ import annotations

import getpass
import hashlib
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))  # the stand-in lives with the tests

from tests.standin import SCRIPT_VARIABLE, Standin, Waveform, build, rtx_6000_ada, t4  # noqa: E402

HEAD: Final = "head"
CLIENT: Final = "client"
WORKERS: Final = {"t4-1": "T4", "t4-2": "T4", "ada-1": "RTX6000Ada", "ada-2": "RTX6000Ada"}
"""Host name to the GPU kind that the machine shows."""

NETWORK: Final = "10.77.0."
SSH_PORT: Final = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the machines are made from: files under `folder`."""

    folder: Path
    names: tuple[str, ...] = (HEAD, *WORKERS, CLIENT)
    epoch_s: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> Path:
        """The client's ssh key."""
        return self.folder / "key"

    def address(self, name: str) -> str:
        """In the network of the machines."""
        return f"{NETWORK}{self.names.index(name) + 1}"

    def uuid(self, name: str) -> str | None:
        """Of the machine's GPU, if it has one."""
        return f"GPU-00000000-0000-0000-0000-{self.names.index(name):012d}" if name in WORKERS else None

    def prepare(self) -> None:
        """Keys, the driver and the files all machines share."""
        (self.folder / "home").mkdir()
        for key in (self.key, self.folder / "host_key"):
            made_key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "carbonsweep hosts", "-f", str(key)]
            subprocess.run(made_key, check=True, stdin=subprocess.DEVNULL)
        build(self.folder)
        own = "".join(f"{self.address(name)} {name}\n" for name in self.names)
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{own}", encoding="utf-8")
        (self.folder / "resolv.conf").write_text("", encoding="utf-8")  # nobody to ask: an answer at once

    def written(self, name: str) -> Path:
        """The folder of one machine, filled."""
        folder = self.folder / name
        for part in ("home", "ray", "ssh"):
            (folder / part).mkdir(parents=True, mode=0o700)
        accounts = [f"root:x:0:0:root:{self.folder}/home:/bin/bash", "sshd:x:100:65534::/run/sshd:/usr/sbin/nologin"]
        (folder / "passwd").write_text("\n".join([*accounts, "nobody:x:65534:65534:::"]) + "\n", encoding="utf-8")
        (folder / "home" / ".bashrc").touch()
        (folder / "sshd_config").write_text(self._sshd(name), encoding="utf-8")
        return folder

    def _sshd(self, name: str) -> str:
        lines = [
            f"Port {SSH_PORT}",
            f"HostKey {self.folder}/host_key",
            f"AuthorizedKeysFile {self.folder}/key.pub",
            "StrictModes no",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "UsePAM no",
            "UseDNS no",
            "PidFile none",
            "Subsystem sftp internal-sftp",
        ]
        driver = self._driver(name)
        if driver:
            lines.append("SetEnv " + " ".join(f"{key}={value}" for key, value in driver.items()))
        return "\n".join(lines) + "\n"

    def _driver(self, name: str) -> dict[str, str]:
        """Variables under which a machine finds its stand-in driver."""
        kind = WORKERS.get(name)
        if kind is None:
            return {}
        model = {"T4": t4, "RTX6000Ada": rtx_6000_ada}[kind]
        power_w = 40.0 + 10 * self.names.index(name)
        gpu = model(uuid=self.uuid(name), waveform=Waveform.constant(power_w), refresh_s=0.02)
        # One clock for all processes of a machine: the counter goes on from one to the next.
        script = Standin(gpus=(gpu,), epoch_monotonic_s=self.epoch_s).written(self.folder / f"{name}.nvml")
        return {"LD_LIBRARY_PATH": str(self.folder), SCRIPT_VARIABLE: str(script)}

    def boot(self, name: str) -> list[str]:
        """Shell lines that furnish a machine and give it what it has for itself."""
        folder = self.written(name)
        user = hashlib.sha256(getpass.getuser().encode()).hexdigest()
        ssh_sockets = f"/tmp/ray_ssh_{user[:10]}"  # as `ray up` names it
        return [
            f"hostname {name}",
            "mount -t tmpfs -o mode=755 run /run",
            "mkdir /run/sshd",
            "mount -t tmpfs -o mode=1777 shm /dev/shm",
            f"mkdir -p /tmp/ray {ssh_sockets}",
            f"mount --bind {folder}/ray /tmp/ray",
            f"mount --bind {folder}/ssh {ssh_sockets}",
            f"mount --bind {folder}/home {self.folder}/home",  # one path on all machines, as accounts of one name have
            f"mount --bind {folder}/passwd /etc/passwd",
            f"mount --bind {self.folder}/hosts /etc/hosts",
            f"mount --bind {self.folder}/resolv.conf /etc/resolv.conf",
        ]

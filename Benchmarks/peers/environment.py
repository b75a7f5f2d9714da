"""Everything the rivals need, outside the repository: Python packages, the tuning libraries, llama.cpp."""

import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import venv

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1]
ROOT = BENCHMARKS.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "kalsae"
# Its source distribution on PyPI carries the sources of llama.cpp.
LLAMA = "llama-cpp-python==0.3.36"


class Unavailable(Exception):
    """A rival that cannot run here; says why, and what would help, in one line."""


def run(command, **settings):
    """Runs a command of the set-up; one that fails makes its rival unavailable."""
    said = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        ran = subprocess.run([str(part) for part in command], **said, **settings)
    except OSError as error:
        raise Unavailable(f"{command[0]}: {error.strerror}") from None
    if ran.returncode != 0:
        last = (ran.stdout.strip().splitlines() or ["it said nothing"])[-1]
        raise Unavailable(f"{' '.join(str(part) for part in command)} failed: {last}")


class Environment:
    """The Python that runs the rivals' scripts, and a cache folder for what is compiled."""

    def __init__(self, folder, cache=CACHE):
        """Makes the virtual environment `folder` on first use, and when the pinned packages change."""
        self.cache = cache
        cache.mkdir(parents=True, exist_ok=True)
        self.python = folder / "bin" / "python"
        if not self.python.exists():
            print(f"making {folder} (once; about 7 GB)", file=sys.stderr)
            venv.create(folder, with_pip=True)
        stamps = {
            "kalsae-requirements.txt": ROOT / "Tools" / "reference" / "requirements.txt",
            "kalsae-benchmarks-requirements.txt": BENCHMARKS / "requirements.txt",
        }
        for name, requirements in stamps.items():
            stamp = folder / name
            if not stamp.exists() or stamp.read_text() != requirements.read_text():
                subprocess.run(
                    [self.python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True
                )
                shutil.copyfile(requirements, stamp)

    def variables(self):
        """What every script of the rivals gets: compiled kernels are kept, nothing is downloaded."""
        return {"TORCHINDUCTOR_CACHE_DIR": str(self.cache / "inductor"), "HF_HUB_OFFLINE": "1"}

    def tuning(self):
        """The value of LD_PRELOAD that makes PyTorch the strongest it can be."""
        source, library = BENCHMARKS / "tuned" / "mkl_intel.c", self.cache / "libmklintel.so"
        if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
            run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source])
        found = subprocess.run(["/sbin/ldconfig", "-p"], stdout=subprocess.PIPE, text=True).stdout
        for line in found.splitlines():
            if "libtcmalloc_minimal.so.4 " in line and "x86-64" in line:
                return f"{library}:{line.split()[-1]}"
        raise Unavailable("tcmalloc is missing: apt-get install libtcmalloc-minimal4")

    def llama(self):
        """The program gpt2_decode with llama.cpp, compiled for this machine (once), and its folder."""
        folder = self.cache / LLAMA.replace("llama-cpp-python==", "llama.cpp-")
        program, bin_folder = folder / "build" / "gpt2_decode", self.python.parent
        source = folder / "source"
        if not source.exists():
            print(f"fetching llama.cpp into {folder}", file=sys.stderr)
            folder.mkdir(parents=True, exist_ok=True)
            fetch = [self.python, "-m", "pip", "download", LLAMA, "--no-deps", "--no-build-isolation"]
            run([*fetch, "--quiet", "--no-binary", "llama-cpp-python", "--dest", folder])
            (archive,) = folder.glob("*.tar.gz")
            self._unpack(archive, source)
        path = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
        # a copy, so that the build does not depend on where this repository is
        own, build = folder / "program", folder / "build"
        shutil.copytree(BENCHMARKS / "peers" / "llama", own, dirs_exist_ok=True)
        if not (build / "build.ninja").exists():
            configure = ["cmake", "-S", own, "-B", build, "-G", "Ninja"]
            settings = ["-DCMAKE_BUILD_TYPE=Release", f"-DLLAMA_CPP={source}"]
            run([*configure, *settings], env=path)
        if not program.exists():
            print("compiling llama.cpp (once)", file=sys.stderr)
        run(["ninja", "-C", build, "gpt2_decode"], env=path)
        return program, folder

    def _unpack(self, archive, target):
        """The folder vendor/llama.cpp of a source distribution; appears complete or not at all."""
        part = target.with_suffix(".part")
        with tarfile.open(archive) as opened:
            inside = f"{opened.getnames()[0].split('/')[0]}/vendor/llama.cpp/"
            members = [m for m in opened.getmembers() if m.name.startswith(inside)]
            for member in members:
                member.name = member.name.removeprefix(inside)
            opened.extractall(part, members, filter="data")
        part.rename(target)

"""PyTorch with diffusers and transformers: `stock`, as pip installs it, and `tuned`.

Tuned, its MKL takes AVX-512 on any processor that has it, and memory comes from tcmalloc.
"""

from .command import script


class PyTorch:
    def __init__(self, name, environment, compiles):
        self.name, self.environment, self.compiles = name, environment, compiles

    def ways(self, workload, precision):
        """Memory layouts; autocast or converted weights; eager or compiled."""
        variables = {"LD_PRELOAD": self.environment.tuning()} if self.name == "tuned" else {}
        file, found = self._found(workload, precision)
        if self.compiles:
            found |= {f"{name}, compiled": [*arguments, "--compile"] for name, arguments in found.items()}
        return {
            name: script(self.environment, file, workload, *arguments, **variables)
            for name, arguments in found.items()
        }

    def _found(self, workload, precision):
        if workload.program.startswith("ddpm-"):
            return "ddpm_models.py", {
                name.replace("_", "-"): ["--layout", name] for name in ("channels_last", "contiguous")
            }
        file = "transformers_models.py"
        if precision == "float32":
            return file, {"eager": []}
        if workload.trains:
            return file, {"autocast": []}
        return file, {name: ["--half", name] for name in ("autocast", "convert")}

"""llama.cpp, compiled for this machine: GPT-2's decoding, with weights of the precision that is asked for."""

from .command import script


class LlamaCpp:
    def __init__(self, name, environment):
        self.name, self.environment = name, environment

    def ways(self, workload, precision):
        """With memory as it comes, and in huge pages."""
        if workload.program != "gpt2-decode":
            return {}
        program, models = self.environment.llama()
        arguments = ["--program", program, "--models", models]
        huge = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
        return {
            "small pages": script(self.environment, "llama_gpt2.py", workload, *arguments),
            "huge pages": script(self.environment, "llama_gpt2.py", workload, *arguments, **huge),
        }

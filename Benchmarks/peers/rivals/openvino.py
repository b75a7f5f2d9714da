"""OpenVINO, for models that are not trained."""

from .command import script

WORKLOADS = {"ddpm-cifar10-sample", "gpt2-prefill", "bert-base", "vit-base"}


class OpenVINO:
    def __init__(self, name, environment):
        self.name, self.environment = name, environment

    def ways(self, workload, precision):
        if workload.program not in WORKLOADS:
            return {}
        models = self.environment.cache / "openvino"
        return {"latency": script(self.environment, "openvino_models.py", workload, "--models", models)}

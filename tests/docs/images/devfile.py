from devloop import image, service


@image("runner")
def runner_image(): ...


@service(
    "k8s/runner.yaml",
    images={
        "example.org/Runner": ["spec.uses", {"repository": "spec.engine.repo", "tag": "spec.engine.release"}],
        "Deployment": [
            "spec.template.spec.containers[*].args[*]",
            "spec.template.spec.containers[*].env[name=JOB_IMAGE].value",
        ],
    },
)
def nightly(): ...

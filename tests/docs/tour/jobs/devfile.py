"""Included by the tour's devfile; paths are relative to this folder."""

from devloop import Service, service


@service("k8s/cleanup.yaml")
def cleanup(postgres: Service) -> None:  # names are shared between devfiles
    ...

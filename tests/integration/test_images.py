"""The images without a Docker engine: linted, and each one's files and dependencies put together as the Dockerfile says.

What is not run here: `docker build` itself, the base images and their users, the mounts of compose.yaml. Everything else
of an image is: the lock is checked and installed by the same uv command, the same files are copied, and the service is
started from them by an interpreter that sees nothing else.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest
import yaml
from compose_spec import PyCompose

from services.batch_processor.settings import Settings
from services.normalizer.config import NormalizerConfig
from services.session_manager.config import Config
from simulator.__main__ import Settings as Market
from strategies.run import Options

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
SERVICES = ("session_manager", "normalizer", "batch_processor", "post_processor", "strategies")
QUICK = ("session_manager", "batch_processor")
"""The images that every test run puts together; the others take their time in `make chaos`."""

OPTIONS = {
    "session_manager": Config, "normalizer": NormalizerConfig, "batch_processor": Settings, "strategies": Options,
    "local": Market,
}  # fmt: skip

FOREIGN = {
    "session_manager": ("boto3", "redis", "databento_dbn", "duckdb", "nautilus_trader"),
    "normalizer": ("boto3", "botocore", "aiohttp", "duckdb", "nautilus_trader"),
    "batch_processor": ("redis", "databento_dbn", "aiohttp", "duckdb", "nautilus_trader"),
    "post_processor": ("redis", "grpc", "nautilus_trader"),
    "strategies": ("boto3", "grpc", "duckdb"),
}
"""What a service's image must not hold."""


def test_the_dockerfile_has_no_findings():
    subprocess.run([Path(sys.executable).parent / "hadolint", DOCKERFILE], check=True)


def test_compose_is_valid_and_every_service_is_hardened():
    text = (ROOT / "compose.yaml").read_text()
    spec = PyCompose.from_json(json.dumps(yaml.safe_load(text)))  # it knows no merge keys, Docker does
    spec.validate()
    services = yaml.safe_load(text)["services"]
    assert set(services) == set(spec.service_names())
    for name, service in services.items():
        assert service["read_only"], name
        assert "ports" not in service, name
        if "build" in service:
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert (ROOT / service["build"]["dockerfile"]).is_file()
            assert service["build"].get("target", "service") in _stages()
            _check_options(name, service)


def test_images_run_as_nobody_in_particular_and_check_their_health():
    runtime = _stages()["runtime"]
    assert ("USER", "10001:10001") in runtime
    assert any(word == "HEALTHCHECK" for word, _ in runtime)
    assert not any("secret" in value.lower() or "password" in value.lower() for stage in _stages().values()
                   for word, value in stage if word in {"ENV", "ARG"})  # fmt: skip


@pytest.mark.parametrize(
    "service", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.chaos) for name in SERVICES]
)
def test_an_image_holds_what_its_service_needs_and_no_more(service: str, tmp_path: Path):
    """Its locked packages, its files, one readable line for a wrong option, and no foreign package."""
    app, venv = tmp_path / "app", tmp_path / "venv"
    _copy(service, app)
    command = next(value for word, value in _stages()["dependencies"] if word == "RUN")
    options = re.search(r"uv sync (.*) --package", command)
    assert options is not None
    subprocess.run(
        [_uv(), "sync", "--quiet", *options[1].split(), "--package", f"penstock-{service}", "--python", sys.executable],
        cwd=app, check=True, env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(venv), "VIRTUAL_ENV": str(venv)},
    )  # fmt: skip
    for name in ("pyproject.toml", "uv.lock"):
        (app / name).unlink()  # they are of the dependencies' stage
    module = "strategies.run" if service == "strategies" else f"services.{service}"
    refused = _python(app, venv, "-m", module, "--strategy=none" if service == "strategies" else "--nonsense")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    _check_imports(service, app, venv)


def _uv() -> str:
    """The machine's uv, or the one that `make setup` brought."""
    found = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".boot" / "bin"))
    if found is None:
        pytest.skip("uv is neither on PATH nor in .boot: `make setup` brings it")
    return found


def _check_imports(service: str, app: Path, venv: Path) -> None:
    """Every module of the service and, where it holds venues, of every provider can be imported."""
    folder = app / ("strategies" if service == "strategies" else f"services/{service}")
    modules = [_module(path, app) for path in folder.rglob("*.py") if path.name != "__main__.py"]
    part = {"session_manager": "session", "normalizer": "normalizer", "post_processor": "normalizer"}.get(service)
    modules += [_module(path, app) for path in (app / "providers").glob(f"*/{part}.py")] if part else []
    foreign = FOREIGN[service]
    code = (
        f"import importlib, importlib.util\n[importlib.import_module(name) for name in {modules!r}]\n"
        f"found = [name for name in {foreign!r} if importlib.util.find_spec(name)]\nassert not found, found"
    )
    imported = _python(app, venv, "-c", code)
    assert imported.returncode == 0, imported.stderr


def _module(path: Path, app: Path) -> str:
    return ".".join(path.relative_to(app).with_suffix("").parts).removesuffix(".__init__")


def _python(app: Path, venv: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": f"{venv}/bin:/usr/bin:/bin", "PYTHONPATH": f"{app}:{app}/third_party/python",
               "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(app)}  # fmt: skip
    return subprocess.run([venv / "bin/python", *arguments], cwd=app, env=environ, capture_output=True, text=True)


def _copy(service: str, app: Path) -> None:
    """The files that the Dockerfile copies from the checkout for a service."""
    target = "strategies" if service == "strategies" else "service"
    for stage in ("dependencies", "runtime", target):
        for word, value in _stages()[stage]:
            if word != "COPY" or value.startswith("--from"):
                continue
            *sources, destination = value.replace("${SERVICE}", service).split()
            for source in sources:
                where = app / destination if len(sources) == 1 and destination != "./" else app / source
                where.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / source).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
                    shutil.copytree(ROOT / source, where, dirs_exist_ok=True, ignore=ignored)
                else:
                    shutil.copyfile(ROOT / source, where)


def _stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage by its name."""
    stages: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    lines = (line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, value = line.strip().partition(" ")
        if word == "FROM":
            current = stages.setdefault(value.split(" AS ")[1], [])
        elif word:
            current.append((word, " ".join(value.split())))
    return stages


def _check_options(name: str, service: dict) -> None:
    """Each PENSTOCK_ variable of a service is an option of its module."""
    image = service["image"].removeprefix("penstock-").replace("-", "_")
    known = {f"PENSTOCK_{field.name.upper()}" for field in msgspec.structs.fields(OPTIONS[image])}
    assert set(service.get("environment", {})) <= known, name


def test_every_locked_file_has_its_hash():
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    fetched = [package for package in packages if "registry" in package["source"]]
    files = [file for package in fetched for file in [*package.get("wheels", ()), package.get("sdist")] if file]
    assert len(fetched) > 100
    assert all(file["hash"].startswith("sha256:") for file in files)
    assert {package["source"]["registry"] for package in fetched} == {"https://pypi.org/simple"}
    assert all("registry" in package["source"] or "editable" in package["source"] or "virtual" in package["source"]
               for package in packages)  # fmt: skip

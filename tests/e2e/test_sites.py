"""The worked site templates: copied to /etc/slurm-nb/templates with names and paths changed, as
docs/admin/templates.md says, and taken by `submit` with no options.
"""

from __future__ import annotations

import json

from slurm_nb.paths import templates_folder
from tests.cluster.container import APPTAINER_BIN
from tests.e2e.scientist import Scientist
from tests.e2e.test_config import with_etc
from tests.e2e.test_environments import cell_of, image, make_env, module_site

__all__ = ["image"]

SHOW = (
    "import json, os, sys; names = 'WHO TMPDIR CONDA_PREFIX CONDA_PKGS_DIRS CUDA_VISIBLE_DEVICES';"
    " print(json.dumps([sys.executable, os.environ['SLURM_JOB_PARTITION'],"
    " {n: os.environ[n] for n in names.split() if n in os.environ}]))"
)
GPU = "; print(os.popen('nvidia-smi').read(), os.listdir('/srv/data'))"
MODULES = {
    "python/3.11": "#%Module1.0\nsetenv WHO site\n",
    "jupyter/1.0": "#%Module1.0\nprereq python\nprepend-path PATH /srv/jupyter-1.0/bin\n",
}


def session_of(
    alice: Scientist, name: str, changes: dict[str, str], config: str, show: str = SHOW
) -> str:
    """Return the output of a cell in a session of the worked template `name`.

    changes: the texts that an admin changes in the copy, and their replacements.
    """
    text = (templates_folder() / f"sites/{name}.sh.j2").read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    config = f'template = "mysite"\n{config}'

    said = with_etc(alice, config, "submit", "--json", template=("mysite.sh.j2", text))

    assert said.exit_code == 0, said
    return cell_of(alice, json.loads(said.stdout), show)


def test_the_template_of_a_site_with_modules(alice: Scientist) -> None:
    """The site's modules bring the interpreter, in the partition and with the node's own disk that
    the template names.
    """
    with module_site(alice.cluster, "lmod", MODULES):
        # In the place of what a site's prolog sets.
        config = 'nodelist = "c1"\nsetup = ["export SNIC_TMP=/var/tmp"]\n'
        seen = session_of(alice, "modules", {"--partition=core": "--partition=main"}, config)

    wanted = {"WHO": "site", "TMPDIR": "/var/tmp"}
    assert json.loads(seen) == ["/srv/jupyter-1.0/bin/python3", "main", wanted]


def test_the_template_of_a_conda_site(alice: Scientist) -> None:
    """Everybody gets the site's environment, and packages that they add go to the scratch disk;
    users who name their own environment get that.
    """
    env = alice.cluster.state / "srv/conda/envs/jupyter"
    make_env(alice, "own")
    make_env(alice, "/srv/conda/envs/jupyter")
    (env / "conda-meta").mkdir()
    (alice.cluster.state / "srv/scratch/alice").mkdir(parents=True, exist_ok=True)
    changes = {"/sw/": "/srv/", "/scratch/": "/srv/scratch/"}

    seen = session_of(alice, "conda", changes, "")
    own = session_of(alice, "conda", changes, 'env = "/home/alice/own"\n')

    packages = {"TMPDIR": "/tmp", "CONDA_PKGS_DIRS": "/srv/scratch/alice/conda-pkgs"}
    prefix = "/srv/conda/envs/jupyter"
    wanted = [f"{prefix}/bin/python3", "main", {"CONDA_PREFIX": prefix, **packages}]
    assert json.loads(seen) == wanted
    assert json.loads(own) == ["/home/alice/own/bin/python3", "main", packages]


def test_the_template_of_a_container_site_with_gpus(image: str, alice: Scientist) -> None:
    """It runs the site's image with its data, in the partition for jobs with GPUs, which the kernel
    sees; the real apptainer got --nv, and so brought the driver's program of the node.
    """
    alice.program("nvidia-smi", "#!/bin/sh\necho driver of $(uname -n)\n")
    for name in ("data", "scratch"):
        (alice.cluster.state / "srv" / name).mkdir(exist_ok=True)
    (alice.cluster.state / "srv/data/set").touch()
    changes = {
        "/sw/images/jupyter-cuda.sif": image,
        "/data:/data:ro,/scratch": "/srv/data:/srv/data:ro,/srv/scratch",
        "--partition=gpu": "--partition=main",
    }
    path = f"{APPTAINER_BIN}:/home/alice/bin:$PATH"
    config = f"gpus = 1\nnodelist = 'c2'\nsetup = ['export PATH={path}']\n"

    seen, *gpu = session_of(alice, "container", changes, config, SHOW + GPU).splitlines()

    wanted = {"TMPDIR": "/tmp", "CUDA_VISIBLE_DEVICES": "0"}
    assert json.loads(seen) == ["/usr/bin/python3", "main", wanted]
    assert gpu == ["driver of c2", " ['set']"]

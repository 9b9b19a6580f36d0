"""hope endpoint, and `serve`: the container behind a SageMaker endpoint."""

from __future__ import annotations

import click


@click.command(short_help="Answer SageMaker's /ping and /invocations: cases from a bucket, results to it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; `serve` listens on all.")
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port.  [default: SAGEMAKER_BIND_TO_PORT or 8080]")
def endpoint(host: str, port: int | None) -> None:
    """Run cases that lie in S3 and put the results there, as a SageMaker endpoint's container does.

    \b
    GET /ping            200 once a self-test inference has passed, else 503
    POST /invocations    {"input_location": "s3://b/case/", "output_location": "s3://b/case/results",
                          "job_id"?, "model_id"?, "harmonize"?, "preprocessed"?, "outputs"?}

    Models come from /opt/ml/model if it holds bundles, else from HOPE_MODELS_DIR or the package. There is no sign-in:
    whoever reaches the address can read and write what this machine's credentials can. SageMaker alone reaches its
    containers; elsewhere stay on the loopback address.

    \b
    Example:
      hope endpoint --port 8080

    Research use only. Not a medical device.
    """  # noqa: D301 - click reads the backspace
    import logging
    import os

    from hope.endpoint.server import port_of, serve_endpoint
    from hope.web.middleware.logs import configure_logging

    os.umask(0o077)  # what this process and its children write is its user's alone
    configure_logging("info")
    # At info they tell where credentials were found and what was sent where.
    for name in ("boto3", "botocore", "s3transfer", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    serve_endpoint(host, port or port_of(os.environ))

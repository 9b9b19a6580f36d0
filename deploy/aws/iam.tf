# Two parties: the endpoint's container, and the backend (gateway and workers, wherever they run). A third policy is for
# whoever pushes models. Every statement names its resources; the few actions that know none are said to be so.

locals {
  account      = data.aws_caller_identity.here.account_id
  partition    = data.aws_partition.here.partition
  log_group    = "/aws/sagemaker/Endpoints/${var.name}"
  endpoint_arn = "arn:${local.partition}:sagemaker:${var.region}:${local.account}:endpoint/${var.name}"
  proxy_keys   = "${aws_s3_bucket.proxy.arn}/${var.proxy_prefix}/*"
  model_keys   = "${aws_s3_bucket.models.arn}/${var.models_prefix}/*"
  in_vpc       = length(var.subnet_ids) > 0
}

# The endpoint.

data "aws_iam_policy_document" "sagemaker_may_assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["sagemaker.amazonaws.com"]
    }

    # Nobody else's endpoint may borrow the role. AWS documents the condition for hosting; see var.only_this_account.
    dynamic "condition" {
      for_each = var.only_this_account ? [local.account] : []

      content {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [condition.value]
      }
    }
  }
}

resource "aws_iam_role" "endpoint" {
  name               = "${var.name}-endpoint"
  description        = "What the container of the endpoint may do"
  assume_role_policy = data.aws_iam_policy_document.sagemaker_may_assume.json
}

data "aws_iam_policy_document" "endpoint" {
  # Deleting: a failure that a later try has mended, and what a killed try left.
  statement {
    sid       = "CasesAndResults"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = [local.proxy_keys]
  }

  # No condition on a prefix here: with one, S3 calls an object that is not there yet forbidden instead of absent.
  statement {
    sid       = "ListCases"
    actions   = ["s3:GetBucketVersioning", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [aws_s3_bucket.proxy.arn]
  }

  statement {
    sid       = "ReadModels"
    actions   = ["s3:GetObject"]
    resources = [local.model_keys]
  }

  statement {
    sid       = "ListModels"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.models.arn]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.hope.arn]
  }

  statement {
    sid       = "Notify"
    actions   = ["sns:Publish"]
    resources = [for topic in local.topics : topic.arn]
  }

  statement {
    sid       = "PullTheImage"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [aws_ecr_repository.hope.arn]
  }

  # The registry's log-in belongs to no repository: AWS knows no resource for it.
  statement {
    sid       = "RegistryLogin"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  # SageMaker writes the endpoint's metrics with the role's rights. AWS knows no resource for it; the names of the spaces
  # bound it instead.
  statement {
    sid       = "Metrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = ["AWS/SageMaker", "/aws/sagemaker/Endpoints"]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = [aws_cloudwatch_log_group.endpoint.arn, "${aws_cloudwatch_log_group.endpoint.arn}:*"]
  }
}

resource "aws_iam_role_policy" "endpoint" {
  name   = "endpoint"
  role   = aws_iam_role.endpoint.id
  policy = data.aws_iam_policy_document.endpoint.json
}

# Only in a VPC: SageMaker plugs the machines into its subnets.
data "aws_iam_policy_document" "vpc" {
  statement {
    sid = "Plug"
    actions = [
      "ec2:CreateNetworkInterface",
      "ec2:CreateNetworkInterfacePermission",
      "ec2:DeleteNetworkInterface",
      "ec2:DeleteNetworkInterfacePermission",
    ]
    resources = concat(
      ["arn:${local.partition}:ec2:${var.region}:${local.account}:network-interface/*"],
      [for id in var.subnet_ids : "arn:${local.partition}:ec2:${var.region}:${local.account}:subnet/${id}"],
      [for id in var.security_group_ids : "arn:${local.partition}:ec2:${var.region}:${local.account}:security-group/${id}"],
    )
  }

  # AWS knows no resource for looking.
  statement {
    sid = "Look"
    actions = [
      "ec2:DescribeDhcpOptions",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets",
      "ec2:DescribeVpcs",
    ]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "vpc" {
  count = local.in_vpc ? 1 : 0

  name   = "vpc"
  role   = aws_iam_role.endpoint.id
  policy = data.aws_iam_policy_document.vpc.json
}

# The backend.

data "aws_iam_policy_document" "backend" {
  statement {
    sid       = "Invoke"
    actions   = ["sagemaker:InvokeEndpointAsync"]
    resources = [local.endpoint_arn]
  }

  statement {
    sid       = "CasesAndResults"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = [local.proxy_keys]
  }

  # As above. Unfinished uploads are listed to be deleted.
  statement {
    sid       = "ListCases"
    actions   = ["s3:GetBucketVersioning", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [aws_s3_bucket.proxy.arn]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.hope.arn]
  }

  # `hope models pull`: the backend has to know a model's facts.
  statement {
    sid       = "ReadModels"
    actions   = ["s3:GetObject"]
    resources = [local.model_keys]
  }

  statement {
    sid       = "ListModels"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.models.arn]
  }

  statement {
    sid       = "HearOfTheEnd"
    actions   = ["sqs:DeleteMessage", "sqs:ReceiveMessage"]
    resources = [aws_sqs_queue.ended.arn]
  }
}

resource "aws_iam_policy" "backend" {
  name        = "${var.name}-backend"
  description = "Send cases through the proxy bucket to the endpoint, and fetch the answers"
  policy      = data.aws_iam_policy_document.backend.json
}

resource "aws_iam_role_policy_attachment" "backend" {
  count = var.backend_role_name == "" ? 0 : 1

  role       = var.backend_role_name
  policy_arn = aws_iam_policy.backend.arn
}

# Whoever runs `hope models push`. Nothing may be deleted; what is overwritten all the same stays as an older version.
data "aws_iam_policy_document" "publisher" {
  statement {
    sid       = "Models"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = [local.model_keys]
  }

  statement {
    sid       = "ListModels"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.models.arn]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.hope.arn]
  }
}

resource "aws_iam_policy" "publisher" {
  name        = "${var.name}-model-publisher"
  description = "Push and pull models; delete none"
  policy      = data.aws_iam_policy_document.publisher.json
}

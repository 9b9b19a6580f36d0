# The asynchronous endpoint. It exists once an image has been pushed and its digest is known (var.image_digest).

locals {
  endpoints = var.image_digest == "" ? 0 : 1
  variant   = "all"
  proxy     = "s3://${aws_s3_bucket.proxy.id}/${var.proxy_prefix}"
}

# Made here, so that it has an end; SageMaker would make one that keeps everything for ever.
resource "aws_cloudwatch_log_group" "endpoint" {
  name              = local.log_group
  retention_in_days = var.log_days
}

resource "aws_sagemaker_model" "hope" {
  count = local.endpoints

  execution_role_arn = aws_iam_role.endpoint.arn

  # Isolation would cut the container off from S3, where the cases lie. A VPC with an endpoint for S3 alone does both.
  enable_network_isolation = false

  primary_container {
    image = "${aws_ecr_repository.hope.repository_url}@${var.image_digest}"

    environment = {
      AWS_DEFAULT_REGION = var.region
      HOPE_DEVICE        = var.device
    }

    dynamic "model_data_source" {
      for_each = var.model_data_uri == "" ? [] : [var.model_data_uri]

      content {
        s3_data_source {
          s3_uri           = model_data_source.value
          s3_data_type     = "S3Prefix"
          compression_type = "None"
        }
      }
    }
  }

  dynamic "vpc_config" {
    for_each = local.in_vpc ? [1] : []

    content {
      subnets            = var.subnet_ids
      security_group_ids = var.security_group_ids
    }
  }

  lifecycle {
    create_before_destroy = true

    precondition {
      condition     = local.in_vpc == (length(var.security_group_ids) > 0)
      error_message = "subnet_ids and security_group_ids go together: give both or none."
    }
  }

  # Without its rights the role cannot pull the image.
  depends_on = [aws_iam_role_policy.endpoint, aws_iam_role_policy.vpc]
}

resource "aws_sagemaker_endpoint_configuration" "hope" {
  count = local.endpoints

  name_prefix = "${var.name}-"
  kms_key_arn = var.encrypt_instance_volume ? aws_kms_key.hope.arn : null

  production_variants {
    variant_name                                      = local.variant
    model_name                                        = aws_sagemaker_model.hope[0].name
    instance_type                                     = var.instance_type
    initial_instance_count                            = 1 # an endpoint cannot begin with none; scaling takes it to zero
    inference_ami_version                             = var.inference_ami_version == "" ? null : var.inference_ami_version
    container_startup_health_check_timeout_in_seconds = var.startup_seconds
  }

  async_inference_config {
    client_config {
      # A case fills a machine: a second one beside it would make both slower and could exhaust its memory.
      max_concurrent_invocations_per_instance = 1
    }

    output_config {
      # The backend asks for a folder below this one, its own, so that SageMaker's answer goes when the case goes.
      s3_output_path  = "${local.proxy}/"
      s3_failure_path = "${local.proxy}/failures/"
      kms_key_id      = aws_kms_key.hope.arn

      notification_config {
        success_topic = aws_sns_topic.success.arn
        error_topic   = aws_sns_topic.error.arn
      }
    }
  }

  # A configuration cannot be changed: the endpoint is moved to the new one before the old one goes.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_sagemaker_endpoint" "hope" {
  count = local.endpoints

  name                 = var.name
  endpoint_config_name = aws_sagemaker_endpoint_configuration.hope[0].name

  depends_on = [aws_cloudwatch_log_group.endpoint]
}

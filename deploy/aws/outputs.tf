# terraform output -raw environment > sagemaker.env
output "environment" {
  description = "The settings of gateway and workers, a file for `docker run --env-file` or a ConfigMap."
  value       = join("", [for name, value in local.settings : "${name}=${value}\n"])
}

output "settings" {
  description = "The same, by name."
  value       = local.settings
}

locals {
  settings = {
    AWS_DEFAULT_REGION             = var.region
    HOPE_PREDICTOR                 = "sagemaker"
    HOPE_SAGEMAKER_BUCKET          = local.proxy
    HOPE_SAGEMAKER_ENDPOINT        = var.name
    HOPE_SAGEMAKER_KMS_KEY         = aws_kms_key.hope.arn
    HOPE_SAGEMAKER_SNS_QUEUE_URL   = aws_sqs_queue.ended.url
    HOPE_SAGEMAKER_TIMEOUT_SECONDS = var.timeout_seconds
    HOPE_STAGE_TIMEOUT_SECONDS     = var.timeout_seconds + 600 # a stage waits for the endpoint, and then still has to fetch
  }
}

output "repository_url" {
  description = "Where the image is pushed to."
  value       = aws_ecr_repository.hope.repository_url
}

output "models_url" {
  description = "Where `hope models push` puts models, and `hope models pull` finds them."
  value       = "s3://${aws_s3_bucket.models.id}/${var.models_prefix}"
}

output "backend_policy_arn" {
  description = "Attach it to the role of gateway and workers, unless var.backend_role_name did."
  value       = aws_iam_policy.backend.arn
}

output "publisher_policy_arn" {
  description = "Attach it to whoever pushes models."
  value       = aws_iam_policy.publisher.arn
}

output "endpoint_running" {
  description = "Whether an image has been given and so the endpoint exists."
  value       = local.endpoints == 1
}

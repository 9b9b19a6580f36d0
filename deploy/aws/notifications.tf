# SageMaker tells the end of every invocation: where it lies, not what is in it. Whoever polls the bucket needs none of it.
resource "aws_sns_topic" "success" {
  name              = "${var.name}-success"
  kms_master_key_id = aws_kms_key.hope.arn
}

resource "aws_sns_topic" "error" {
  name              = "${var.name}-error"
  kms_master_key_id = aws_kms_key.hope.arn
}

# Nobody outside may send to them or listen; inside the account IAM decides.
data "aws_iam_policy_document" "topic" {
  for_each = local.topics

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [each.value.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  statement {
    sid       = "Endpoint"
    actions   = ["sns:Publish"]
    resources = [each.value.arn]

    principals {
      type        = "AWS"
      identifiers = [aws_iam_role.endpoint.arn]
    }
  }
}

locals {
  topics = {
    success = aws_sns_topic.success
    error   = aws_sns_topic.error
  }
}

resource "aws_sns_topic_policy" "all" {
  for_each = local.topics

  arn    = each.value.arn
  policy = data.aws_iam_policy_document.topic[each.key].json
}

# One queue for both, HOPE_SAGEMAKER_SNS_QUEUE_URL. What nobody fetches goes after an hour:
# nobody waits any longer.
resource "aws_sqs_queue" "ended" {
  name                       = "${var.name}-ended"
  sqs_managed_sse_enabled    = true
  message_retention_seconds  = 3600
  receive_wait_time_seconds  = 20
  visibility_timeout_seconds = 30
}

data "aws_iam_policy_document" "queue" {
  statement {
    sid       = "FromTheTopics"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.ended.arn]

    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [for topic in local.topics : topic.arn]
    }
  }
}

resource "aws_sqs_queue_policy" "ended" {
  queue_url = aws_sqs_queue.ended.id
  policy    = data.aws_iam_policy_document.queue.json
}

resource "aws_sns_topic_subscription" "ended" {
  for_each = local.topics

  topic_arn = each.value.arn
  protocol  = "sqs"
  endpoint  = aws_sqs_queue.ended.arn

  depends_on = [aws_sqs_queue_policy.ended]
}

# Few, and each one means that somebody has to look.

resource "aws_cloudwatch_metric_alarm" "stuck" {
  count = local.endpoints

  alarm_name          = "${var.name}-stuck"
  alarm_description   = "A case has waited longer than the backend does: no machine could be had, or none gets healthy"
  namespace           = "AWS/SageMaker"
  metric_name         = "ApproximateAgeOfOldestRequest"
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = var.timeout_seconds
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns

  dimensions = {
    EndpointName = aws_sagemaker_endpoint.hope[0].name
  }
}

# What an invocation may end in. The second counts whatever the reason: the container's own faults, and those that it never
# hears of, such as a request that SageMaker could not fetch or a container that died.
locals {
  errors = {
    faults = {
      metric      = "Invocation5XXErrors"
      description = "The container answered with a fault of its own; the logs tell which"
    }
    failures = {
      metric      = "InvocationFailures"
      description = "An invocation failed; the message of the topic for errors and the logs tell why"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  for_each = local.endpoints == 0 ? {} : local.errors

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = "AWS/SageMaker"
  metric_name         = each.value.metric
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns

  dimensions = {
    EndpointName = aws_sagemaker_endpoint.hope[0].name
    VariantName  = local.variant
  }
}

moved {
  from = aws_cloudwatch_metric_alarm.faults[0]
  to   = aws_cloudwatch_metric_alarm.errors["faults"]
}

moved {
  from = aws_cloudwatch_metric_alarm.failures[0]
  to   = aws_cloudwatch_metric_alarm.errors["failures"]
}

# It never should: somebody pays for a machine that has been needed without a pause for half a day.
resource "aws_cloudwatch_metric_alarm" "busy" {
  count = local.endpoints

  alarm_name          = "${var.name}-busy"
  alarm_description   = "There has been a backlog for twelve hours without a pause; look at the bill and at the queue"
  namespace           = "AWS/SageMaker"
  metric_name         = "ApproximateBacklogSize"
  statistic           = "Minimum"
  period              = 3600
  evaluation_periods  = 12
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns

  dimensions = {
    EndpointName = aws_sagemaker_endpoint.hope[0].name
  }
}

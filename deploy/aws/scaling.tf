# Nobody waits, nothing runs: 0 to var.max_instances machines, by the number of cases that wait.

resource "aws_appautoscaling_target" "endpoint" {
  count = local.endpoints

  service_namespace  = "sagemaker"
  scalable_dimension = "sagemaker:variant:DesiredInstanceCount"
  resource_id        = "endpoint/${aws_sagemaker_endpoint.hope[0].name}/variant/${local.variant}"
  min_capacity       = 0
  max_capacity       = var.max_instances
}

# More and fewer machines while there are some, and the last one away. SageMaker counts what is in work as backlog too.
resource "aws_appautoscaling_policy" "backlog" {
  count = local.endpoints

  name               = "${var.name}-backlog"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.endpoint[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.endpoint[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.endpoint[0].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.backlog_per_instance
    scale_in_cooldown  = var.idle_seconds
    scale_out_cooldown = 300

    customized_metric_specification {
      namespace   = "AWS/SageMaker"
      metric_name = "ApproximateBacklogSizePerInstance"
      statistic   = "Average"

      dimensions {
        name  = "EndpointName"
        value = aws_sagemaker_endpoint.hope[0].name
      }
    }
  }
}

# From zero to one: "per instance" means nothing while there is none, so waking needs a policy and an alarm of its own.
resource "aws_appautoscaling_policy" "wake" {
  count = local.endpoints

  name               = "${var.name}-wake"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.endpoint[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.endpoint[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.endpoint[0].resource_id

  step_scaling_policy_configuration {
    adjustment_type         = "ChangeInCapacity"
    metric_aggregation_type = "Average"
    cooldown                = 300

    step_adjustment {
      metric_interval_lower_bound = 0
      scaling_adjustment          = 1
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "wake" {
  count = local.endpoints

  alarm_name          = "${var.name}-wake"
  alarm_description   = "A case waits and no machine runs"
  namespace           = "AWS/SageMaker"
  metric_name         = "HasBacklogWithoutCapacity"
  statistic           = "Average"
  period              = 60
  evaluation_periods  = 2
  datapoints_to_alarm = 2
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "missing"
  alarm_actions       = [aws_appautoscaling_policy.wake[0].arn]

  dimensions = {
    EndpointName = aws_sagemaker_endpoint.hope[0].name
  }
}

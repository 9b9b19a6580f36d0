variable "region" {
  description = "Region of AWS that holds everything. Choose it by where the scans may lawfully be."
  type        = string
}

variable "name" {
  description = "Begins the name of everything, and is the endpoint's name."
  type        = string
  default     = "hope"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name))
    error_message = "2 to 20 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "image_digest" {
  description = "Digest (sha256:...) of the image in the repository made here. Empty makes everything but the endpoint, which is the first step."
  type        = string
  default     = ""

  validation {
    condition     = var.image_digest == "" || can(regex("^sha256:[0-9a-f]{64}$", var.image_digest))
    error_message = "sha256: and 64 hex digits; a tag could be another image tomorrow."
  }
}

variable "model_data_uri" {
  description = "s3://BUCKET/PREFIX/ in the models bucket, laid into /opt/ml/model as it is. Empty for the models inside the image."
  type        = string
  default     = ""

  validation {
    condition     = var.model_data_uri == "" || can(regex("^s3://[^/]+/.+/$", var.model_data_uri))
    error_message = "s3://BUCKET/PREFIX/ with a slash at its end."
  }
}

variable "instance_type" {
  description = "Machine behind the endpoint. The default has no graphics card, which the models that ship do not need."
  type        = string
  default     = "ml.c6i.2xlarge"

  validation {
    condition     = startswith(var.instance_type, "ml.")
    error_message = "SageMaker's instance types begin with ml."
  }
}

variable "inference_ami_version" {
  description = "Machine image of SageMaker, which decides the NVIDIA driver. Empty for SageMaker's own choice; an image built for CUDA 13 needs a driver that new."
  type        = string
  default     = ""
}

variable "device" {
  description = "Where the network runs, HOPE_DEVICE of the container: auto, cpu or cuda."
  type        = string
  default     = "auto"

  validation {
    condition     = contains(["auto", "cpu", "cuda"], var.device)
    error_message = "auto, cpu or cuda."
  }
}

variable "max_instances" {
  description = "Most machines at a time. This bounds the costs of an hour."
  type        = number
  default     = 2

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 20
    error_message = "1 to 20."
  }
}

variable "backlog_per_instance" {
  description = "Cases waiting or in work for each machine before another one starts."
  type        = number
  default     = 3

  validation {
    condition     = var.backlog_per_instance > 0
    error_message = "More than 0."
  }
}

variable "idle_seconds" {
  description = "How long scaling in waits after the last time it did. The longer, the fewer cold starts and the higher the bill."
  type        = number
  default     = 600
}

variable "startup_seconds" {
  description = "Longest time from the start of the container to its first healthy answer. It is meant to be ready within 240."
  type        = number
  default     = 480

  validation {
    condition     = var.startup_seconds >= 60 && var.startup_seconds <= 3600
    error_message = "60 to 3600, SageMaker's limits."
  }
}

variable "proxy_prefix" {
  description = "Folder of the proxy bucket that cases go through; nobody is given anything outside of it."
  type        = string
  default     = "cases"

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]*$", var.proxy_prefix))
    error_message = "Lower-case letters, digits and hyphens."
  }
}

variable "models_prefix" {
  description = "Folder of the models bucket that bundles are pushed to."
  type        = string
  default     = "models"

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]*$", var.models_prefix))
    error_message = "Lower-case letters, digits and hyphens."
  }
}

variable "proxy_days" {
  description = "Days after which the bucket deletes what the backend did not. The backend deletes its own at once; this is for the day it cannot."
  type        = number
  default     = 1

  validation {
    condition     = var.proxy_days >= 1 && floor(var.proxy_days) == var.proxy_days
    error_message = "A whole number of days, at least 1: S3 counts no hours."
  }
}

variable "log_days" {
  description = "How long the container's logs are kept. They hold no names and no images."
  type        = number
  default     = 30
}

variable "timeout_seconds" {
  description = "Longest wait of the backend for one answer, the start of a machine included. SageMaker ends an invocation after 3600."
  type        = number
  default     = 3600
}

variable "subnet_ids" {
  description = "Subnets of a VPC for the container. Empty for SageMaker's own network. In a VPC it reaches S3 and KMS by VPC endpoints only."
  type        = list(string)
  default     = []
}

variable "security_group_ids" {
  description = "Security groups of the container, with subnet_ids."
  type        = list(string)
  default     = []
}

variable "encrypt_instance_volume" {
  description = "Encrypt the machines' disks with the key made here too. Types with a local NVMe disk (g4dn, g5, c6id ...) encrypt that themselves and refuse a key."
  type        = bool
  default     = true
}

variable "backend_role_name" {
  description = "Existing role of the gateway and workers that is given the backend's policy. Empty: attach it yourself."
  type        = string
  default     = ""
}

variable "only_this_account" {
  description = "SageMaker may take the endpoint's role for this account's own resources only (aws:SourceAccount). Switch it off if AWS says that the role cannot be assumed."
  type        = bool
  default     = true
}

variable "alarm_topic_arns" {
  description = "SNS topics that hear of alarms. Empty: alarms show in CloudWatch only."
  type        = list(string)
  default     = []
}

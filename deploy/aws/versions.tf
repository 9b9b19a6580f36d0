# Exact on purpose, as everywhere in this project. `terraform init` writes .terraform.lock.hcl beside this file: keep it.
terraform {
  required_version = ">= 1.9, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "6.25.0"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Project = var.name
      Use     = "research-only"
    }
  }
}

data "aws_caller_identity" "here" {}

data "aws_partition" "here" {}

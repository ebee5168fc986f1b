"""The build step: figures computed once from traces and manifests, kept below `built/`, always reproducible."""

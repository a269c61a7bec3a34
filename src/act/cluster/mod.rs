//! One file per kind of workload, over kube.

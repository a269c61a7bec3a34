mod prometheus;

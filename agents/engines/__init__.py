"""Engine processes on a node: started under a keeper, proven ready, read back, ended as whole trees."""

package hostdir_test

func mounts(dir string) error { return nil }

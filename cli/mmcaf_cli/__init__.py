"""The command line: `mmcaf-infer` answers, `mmcaf` makes and looks after bundles."""

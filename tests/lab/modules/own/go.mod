module runner.lab/own

go 1.24

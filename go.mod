module xm

go 1.26.4

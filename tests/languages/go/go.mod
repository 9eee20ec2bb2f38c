module claimant

go 1.19

require lockfolder v0.1.0

replace lockfolder v0.1.0 => ../../../bindings/go

module lockfolder

go 1.19

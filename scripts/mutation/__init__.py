"""`make mutants`: breaks each rule of the project once, and sees a test go red."""

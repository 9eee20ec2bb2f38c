fn main() -> Result<(), lockfolder::Error> {
    SNIPPET
    Ok(())
}

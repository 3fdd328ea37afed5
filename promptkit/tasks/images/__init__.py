"""Sources of images: folders by class, columns of files, IDX files, arrays, and datasets in installed packages."""

import KalsaeData
import Testing

@Suite struct ImageResizeTests {
  @Test func sameSizeIsTheSamePicture() {
    let image = pattern(width: 9, height: 5, channels: 3)
    #expect(image.resized(width: 9, height: 5) == image)
    #expect(image.resizedToCover(5).pixels[0..<3] == image[2, 0])
  }

  @Test func shrinkingAverages() {
    let image = Image(width: 4, height: 2, channels: 1, pixels: [0, 10, 100, 102, 20, 30, 104, 106])
    #expect(image.resized(width: 2, height: 1).pixels == [15, 103])
    // 3 -> 2: each output covers one and a half samples.
    let three = Image(width: 3, height: 1, channels: 1, pixels: [0, 90, 240])
    #expect(three.resized(width: 2, height: 1).pixels == [30, 190])
  }

  @Test func nothingAliases() {
    // A checkerboard seen from afar is grey, not a smaller checkerboard.
    let board = Image(
      width: 64, height: 64, channels: 1, pixels: (0..<4096).map { ($0 / 64 + $0) % 2 == 0 ? 0 : 255 })
    for value in board.resized(width: 11, height: 11).pixels { #expect((112...143).contains(value)) }
    #expect(board.resized(width: 16, height: 16).pixels.allSatisfy { $0 == 128 })
  }

  @Test func enlargingIsBilinear() {
    let image = Image(width: 2, height: 1, channels: 1, pixels: [0, 100])
    #expect(image.resized(width: 4, height: 1).pixels == [0, 25, 75, 100])
    let colour = Image(width: 1, height: 2, channels: 3, pixels: [0, 100, 200, 200, 100, 0])
    #expect(
      colour.resized(width: 1, height: 4).pixels
        == [0, 100, 200, 50, 100, 150, 150, 100, 50, 200, 100, 0])
  }

  @Test func coverTakesTheMiddle() {
    // Left and right quarters are 0 and 9, the middle square is 200.
    let wide = Image(
      width: 8, height: 4, channels: 1,
      pixels: (0..<32).map { $0 % 8 < 2 ? 0 : $0 % 8 < 6 ? 200 : 9 })
    #expect(wide.resizedToCover(2) == Image(width: 2, height: 2, channels: 1, filledWith: 200))
    let high = Image(width: 1, height: 3, channels: 2, pixels: [1, 2, 3, 4, 5, 6])
    #expect(high.resizedToCover(1).pixels == [3, 4])
    // Enlarging looks past the crop, as cropping the enlarged picture would: 2.33, 3, 3.67.
    #expect(high.resizedToCover(3).pixels == [2, 3, 2, 3, 2, 3, 3, 4, 3, 4, 3, 4, 4, 5, 4, 5, 4, 5])
  }

  @Test(arguments: [(1, 1), (7, 3), (3, 7), (64, 63), (5, 100)]) func constantsStay(width: Int, height: Int) {
    let image = Image(width: width, height: height, channels: 3, filledWith: 255)
    for size in [1, 2, 3, 8, 17, 64] {
      #expect(image.resizedToCover(size).pixels.allSatisfy { $0 == 255 })
      #expect(image.resized(width: size, height: 5).pixels.allSatisfy { $0 == 255 })
    }
  }
}

@Suite struct ImageGridTests {
  @Test func placesPicturesInRows() {
    let images = (1...5).map { Image(width: 3, height: 2, channels: 1, filledWith: UInt8($0)) }
    let grid = ImageGrid(background: 99).picture(of: images)
    #expect(grid.width == 3 * (3 + 2) + 2 && grid.height == 2 * (2 + 2) + 2)
    for y in 0..<grid.height {
      for x in 0..<grid.width {
        let (column, row) = ((x - 2) / 5, (y - 2) / 4)
        let isInside = x >= 2 && y >= 2 && (x - 2) % 5 < 3 && (y - 2) % 4 < 2 && row * 3 + column < 5
        #expect(grid[x, y].first == (isInside ? UInt8(row * 3 + column + 1) : 99), "(\(x), \(y))")
      }
    }
  }

  @Test func batchAndColumns() {
    let a = pattern(width: 4, height: 4, channels: 3)
    let b = Image(width: 4, height: 4, channels: 3, filledWith: 50)
    let grid = ImageGrid(columns: 1, padding: 0)
      .picture(ofBatch: a.pixels + b.pixels, height: 4, width: 4, channels: 3)
    #expect(grid == Image(width: 4, height: 8, channels: 3, pixels: a.pixels + b.pixels))
    // More columns than pictures leave no empty cells.
    #expect(ImageGrid(columns: 8).picture(of: [a, b]).width == 2 * 6 + 2)
  }
}
